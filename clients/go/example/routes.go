package main

import (
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/jackc/pgx/v5"

	"example/db"

	supabasesync "github.com/nomadcrew/supabase-sync"
)

// newRouter serves the service. A real backend authenticates its callers first.
func newRouter(service *Service) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.Use(gin.Recovery())
	v1 := router.Group("/v1")

	v1.POST("/users", func(c *gin.Context) {
		var body struct{ ID, Email, Username string }
		if c.BindJSON(&body) == nil {
			respond(c, http.StatusCreated, nil, service.CreateUser(c.Request.Context(), db.User(body)))
		}
	})
	v1.PATCH("/users/:id", func(c *gin.Context) {
		var body struct{ Email, Username *string }
		if c.BindJSON(&body) == nil {
			err := service.UpdateUser(c.Request.Context(), c.Param("id"), body.Email, body.Username)
			respond(c, http.StatusNoContent, nil, err)
		}
	})
	v1.DELETE("/users/:id", func(c *gin.Context) {
		respond(c, http.StatusNoContent, nil, service.DeleteUser(c.Request.Context(), c.Param("id")))
	})

	v1.POST("/trips", func(c *gin.Context) {
		var body struct {
			Name      string
			CreatedBy string `json:"created_by"`
		}
		if c.BindJSON(&body) == nil {
			id, err := service.CreateTrip(c.Request.Context(), body.Name, body.CreatedBy)
			respond(c, http.StatusCreated, gin.H{"id": id}, err)
		}
	})
	v1.PATCH("/trips/:id", func(c *gin.Context) {
		var body struct{ Name string }
		if c.BindJSON(&body) == nil {
			respond(c, http.StatusNoContent, nil, service.UpdateTrip(c.Request.Context(), c.Param("id"), body.Name))
		}
	})
	v1.DELETE("/trips/:id", func(c *gin.Context) {
		respond(c, http.StatusNoContent, nil, service.DeleteTrip(c.Request.Context(), c.Param("id")))
	})

	v1.PUT("/trips/:id/members/:userId", func(c *gin.Context) {
		var body struct{ Role string }
		if c.BindJSON(&body) == nil {
			err := service.AddTripMember(c.Request.Context(), c.Param("id"), c.Param("userId"), body.Role)
			respond(c, http.StatusNoContent, nil, err)
		}
	})
	v1.PATCH("/trips/:id/members/:userId", func(c *gin.Context) {
		var body struct{ Role string }
		if c.BindJSON(&body) == nil {
			err := service.UpdateMemberRole(c.Request.Context(), c.Param("id"), c.Param("userId"), body.Role)
			respond(c, http.StatusNoContent, nil, err)
		}
	})
	v1.DELETE("/trips/:id/members/:userId", removeMember(service))
	return router
}

// region: handler

// removeMember answers 200 if the removal is in force in Supabase, and 202 if it soon will be.
func removeMember(service *Service) gin.HandlerFunc {
	return func(c *gin.Context) {
		status, err := service.RemoveTripMember(c.Request.Context(), c.Param("id"), c.Param("userId"))
		code := http.StatusAccepted
		if status == supabasesync.Applied || status == supabasesync.Superseded {
			code = http.StatusOK
		}
		respond(c, code, gin.H{"removal": status}, err)
	}
}

// endregion

func respond(c *gin.Context, code int, body any, err error) {
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		c.Status(http.StatusNotFound)
	case err != nil:
		_ = c.AbortWithError(http.StatusInternalServerError, err)
	case body == nil:
		c.Status(code)
	default:
		c.JSON(code, body)
	}
}
