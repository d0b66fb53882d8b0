package supabasesync_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	supabasesync "github.com/nomadcrew/supabase-sync"
)

// A revocation without an outbox, whose caller waits for the answer.
func ExampleClient_SendAndWait() {
	// A relay that has applied every event at once.
	relay := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"event_id": %q, "status": "applied"}`, r.Header.Get("webhook-id"))
	}))
	defer relay.Close()

	client, err := supabasesync.NewClient(supabasesync.ClientConfig{
		URL: relay.URL, Secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
	})
	if err != nil {
		log.Fatal(err)
	}
	removal := supabasesync.NewEvent(supabasesync.DeletedMembership{
		TripID: "456e7890-e89b-12d3-a456-426614174001",
		UserID: "123e4567-e89b-12d3-a456-426614174000",
	}, time.Now())
	status, err := client.SendAndWait(context.Background(), removal, 2*time.Second)
	fmt.Println(status, err)
	// Output: applied <nil>
}

func ExampleSigner_Sign() {
	signer, err := supabasesync.NewSigner("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(signer.Sign("msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`)))
	// Output: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=
}
