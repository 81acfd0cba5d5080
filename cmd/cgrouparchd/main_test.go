package main

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cgrouparch/cgrouparch/internal/wsapi"
)

func TestHarmless(t *testing.T) {
	err := fmt.Errorf("remove cpu:/x\x1b[31m\u202e:\n\tbusy: %w", errors.New("é"))
	if got, want := harmless(err), "remove cpu:/x?[31m?:\n\tbusy: é"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRefusedForGood(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{failed(fmt.Errorf("ask: %w", &wsapi.Error{Code: wsapi.CodeBadRequest})), true},
		{failed(fmt.Errorf("ask: %w", &wsapi.Error{Code: wsapi.CodeBusy})), false},
		{errors.New("connection refused"), false},
	} {
		if got := refusedForGood(tt.err); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.err, got, tt.want)
		}
	}
}
