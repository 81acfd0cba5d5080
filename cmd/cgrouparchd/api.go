package main

import (
	"context"
	"encoding/json"
	"io"

	"github.com/cgrouparch/cgrouparch/internal/wsapi"
)

// commands are the websocket's requests.
func (d *daemon) commands() map[string]wsapi.Command {
	looking := make(chan struct{}, 1)
	return map[string]wsapi.Command{
		"compare":       d.compare,
		"get_conf":      d.chronicle.getConf,
		"get_history":   wsapi.JSON(d.chronicle.getHistory),
		"get_process":   inTurn(looking, "processes", d.getProcess),
		"get_processes": inTurn(looking, "processes", d.getProcesses),
		"get_status":    wsapi.JSON(func(context.Context, json.RawMessage) (any, error) { return d.status(), nil }),
		"show_account":  d.slots.showAccount,
		"show_samples":  d.showSamples,
	}
}

// showSamples is "show_samples".
func (d *daemon) showSamples(ctx context.Context, args json.RawMessage, w io.Writer) error {
	if d.samples == nil {
		return &wsapi.Error{Code: wsapi.CodeBadRequest, Message: "there are no samples between the slots: sample_interval is 1s"}
	}
	return accountError(d.samples.ShowAccount(ctx, args, w))
}
