// Package handlers shows the wiring, and that a Gin handler does not change.
package handlers

import (
	"context"
	"database/sql"
	"errors"
	"net/http"
	"os"

	"github.com/gin-gonic/gin"

	"nomadcrew/relay"
	"nomadcrew/trips"
)

// region: wiring

// StartRelay wires the parts. Call it once in main, after opening the database.
func StartRelay(ctx context.Context, db *sql.DB) (*trips.Service, error) {
	client, err := relay.NewClient(os.Getenv("RELAY_URL"), os.Getenv("RELAY_WEBHOOK_SECRET"))
	if err != nil {
		return nil, err
	}
	flusher := relay.NewFlusher(db, client)
	go flusher.Run(ctx) // ends with ctx; unsent rows stay in the outbox
	return &trips.Service{DB: db, Flusher: flusher}, nil
}

// endregion

// RemoveMember handles DELETE /v1/trips/:id/members/:userId.
func RemoveMember(service *trips.Service) gin.HandlerFunc {
	return func(c *gin.Context) {
		err := service.RemoveTripMember(c.Request.Context(), c.Param("id"), c.Param("userId"))
		switch {
		case errors.Is(err, sql.ErrNoRows):
			c.Status(http.StatusNotFound)
		case err != nil:
			_ = c.AbortWithError(http.StatusInternalServerError, err)
		default:
			c.Status(http.StatusNoContent)
		}
	}
}
