package supabasesync_test

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// The root package and relaysql import no other module, so that no backend gets a driver it does not use.
func TestImports_RootPackageAndRelaysql_AreOfTheStandardLibrary(t *testing.T) {
	for _, pattern := range []string{"*.go", "relaysql/*.go"} {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			t.Fatal(paths, err)
		}
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, each := range file.Imports {
				imported, _ := strconv.Unquote(each.Path.Value)
				if strings.Contains(imported, ".") && imported != "github.com/nomadcrew/supabase-sync" {
					t.Errorf("%s imports %s", path, imported)
				}
			}
		}
	}
}
