//go:build race

package reconcile

// raceEnabled: the race detector allocates and makes sync.Pool forget.
const raceEnabled = true
