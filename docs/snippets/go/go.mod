// The code that docs/integration.md shows. relay/ and trips/ need nothing but the standard library;
// handlers/ needs gin and e2e/ a PostgreSQL driver, which your module has already.
module nomadcrew

go 1.19
