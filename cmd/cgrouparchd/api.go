package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"

	"github.com/cgrouparch/cgrouparch/internal/account"
	"github.com/cgrouparch/cgrouparch/internal/wsapi"
)

// commands are the websocket's requests.
func (d *daemon) commands() map[string]wsapi.Command {
	return map[string]wsapi.Command{
		"show_account":  d.showAccount,
		"get_conf":      d.control.getConf,
		"get_process":   wsapi.JSON(d.getProcess),
		"get_processes": wsapi.JSON(d.getProcesses),
		"get_status":    wsapi.JSON(func(context.Context, json.RawMessage) (any, error) { return d.status(), nil }),
	}
}

func (d *daemon) showAccount(ctx context.Context, args json.RawMessage, w io.Writer) error {
	err := d.service.ShowAccount(ctx, args, w)
	switch {
	case errors.Is(err, account.ErrArguments):
		return &wsapi.Error{Code: wsapi.CodeBadRequest, Message: err.Error()}
	case errors.Is(err, account.ErrBusy):
		return &wsapi.Error{Code: wsapi.CodeBusy, Message: err.Error()}
	}
	return err
}
