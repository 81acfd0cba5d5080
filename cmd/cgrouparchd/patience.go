package main

import (
	"fmt"
	"time"
)

// waiting tells a person at the terminal, after a second, what is being waited for.
// The function that it returns ends that.
func (a *app) waiting(what string) (done func()) {
	if !terminal(a.stderr) {
		return func() {}
	}
	timer := time.AfterFunc(time.Second, func() { fmt.Fprintf(a.stderr, "waiting for %s ...\n", what) })
	return func() { timer.Stop() }
}
