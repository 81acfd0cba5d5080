package main

import (
	"context"
	"encoding/json"
	"io"

	"github.com/cgrouparch/cgrouparch/internal/wsapi"
)

// commands are the websocket's requests.
func (d *daemon) commands() map[string]wsapi.Command {
	turn := make(chan struct{}, 1)
	return map[string]wsapi.Command{
		"show_account":  d.slots.showAccount,
		"show_samples":  d.showSamples,
		"get_conf":      d.control.getConf,
		"get_process":   inTurn(turn, d.getProcess),
		"get_processes": inTurn(turn, d.getProcesses),
		"get_status":    wsapi.JSON(func(context.Context, json.RawMessage) (any, error) { return d.status(), nil }),
	}
}

// showSamples is "show_samples".
func (d *daemon) showSamples(ctx context.Context, args json.RawMessage, w io.Writer) error {
	if d.samples == nil {
		return &wsapi.Error{Code: wsapi.CodeBadRequest, Message: "there are no samples between the slots: sample_interval is 1s"}
	}
	return accountError(d.samples.ShowAccount(ctx, args, w))
}
