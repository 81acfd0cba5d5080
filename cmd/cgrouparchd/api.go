package main

import (
	"context"
	"encoding/json"

	"github.com/cgrouparch/cgrouparch/internal/wsapi"
)

// commands are the websocket's requests.
func (d *daemon) commands() map[string]wsapi.Command {
	turn := make(chan struct{}, 1)
	return map[string]wsapi.Command{
		"show_account":  d.slots.showAccount,
		"get_conf":      d.control.getConf,
		"get_process":   inTurn(turn, d.getProcess),
		"get_processes": inTurn(turn, d.getProcesses),
		"get_status":    wsapi.JSON(func(context.Context, json.RawMessage) (any, error) { return d.status(), nil }),
	}
}
