package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cgrouparch/cgrouparch/internal/confdiff"
	"github.com/cgrouparch/cgrouparch/internal/top"
	"github.com/cgrouparch/cgrouparch/internal/wsapi"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

// largestRequest is what a daemon takes (docs/websocket.md, limits).
const largestRequest = 64 << 10

// asker asks the daemon at an address. What that cannot compare is compared here.
func asker(address string) top.Client {
	ask := func(ctx context.Context, cmd string, args map[string]any) ([]byte, error) {
		var out bytes.Buffer
		var request any
		if args != nil {
			request = args
		}
		err := wsapi.Ask(ctx, address, cmd, request, &out)
		return out.Bytes(), err
	}
	return func(ctx context.Context, cmd string, args map[string]any) ([]byte, error) {
		data, err := []byte(nil), error(nil)
		if cmd == "compare" && tooLarge(args) {
			data, err = compareHere(ctx, ask, args, "the text is too large to be sent to the daemon")
		} else {
			data, err = ask(ctx, cmd, args)
		}
		var refused *wsapi.Error
		if errors.As(err, &refused) && refused.Code == wsapi.CodeInvalidCmd && cmd == "compare" {
			data, err = compareHere(ctx, ask, args, "the daemon is of an older version that cannot compare")
		}
		if errors.As(err, &refused) {
			return nil, top.Refusal(refused.Message)
		}
		return data, err
	}
}

// tooLarge says whether a daemon would take a request with these arguments.
func tooLarge(args map[string]any) bool {
	data, err := json.Marshal(map[string]any{"cmd": "compare", "args": args})
	return err == nil && len(data)+1 > largestRequest // a newline follows
}

// compareHere answers compare from two documents that the daemon has. What its host
// could not honour is not known here; why says why it is done so.
func compareHere(ctx context.Context, ask top.Client, args map[string]any, why string) ([]byte, error) {
	from, err := versionOf(ctx, ask, args["from"])
	if err != nil {
		return nil, err
	}
	older, err := from.document()
	if err != nil {
		return nil, top.Refusal(fmt.Sprintf("version %d is not valid, so there is nothing to compare with: %v", from.version, zkconf.Faults(err)[0]))
	}
	answer := struct {
		comparison
		Note string `json:"note"`
	}{comparison{From: from.version}, "compared here, so what its host could not honour is not known: " + why}
	var to stored
	if text, ok := args["document"].(string); ok {
		to.raw = []byte(text)
	} else {
		if to, err = versionOf(ctx, ask, args["to"]); err != nil {
			return nil, err
		}
		answer.To = &to.version
	}
	if newer := answer.read(to); newer != nil {
		verbose, _ := args["verbose"].(bool)
		answer.differ(confdiff.Compare(older, newer), bytes.Equal(from.raw, to.raw), verbose)
	}
	return json.Marshal(answer)
}

// versionOf asks for a version of the document; nil is the one in force.
func versionOf(ctx context.Context, ask top.Client, version any) (stored, error) {
	var args map[string]any
	if version != nil {
		args = map[string]any{"version": version}
	}
	data, err := ask(ctx, "get_conf", args)
	if err != nil {
		return stored{}, err
	}
	var conf struct {
		Version int32           `json:"version"`
		Value   json.RawMessage `json:"value"`
	}
	if err := json.Unmarshal(data, &conf); err != nil {
		return stored{}, fmt.Errorf("answer of get_conf: %w", err)
	}
	return stored{version: conf.Version, raw: conf.Value}, nil
}
