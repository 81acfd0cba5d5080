package main

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
)

// task is one goroutine of the daemon that lives until it stops. All of them are
// started by runTasks and nowhere else.
type task struct {
	name string
	// run works until ctx ends and then returns nil; an error ends the process.
	run func(ctx context.Context) error
}

// runTasks runs every task until ctx ends or one of them fails.
func runTasks(ctx context.Context, tasks []task) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, t := range tasks {
		group.Go(func() error {
			if err := t.run(ctx); err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
			return nil
		})
	}
	return group.Wait()
}
