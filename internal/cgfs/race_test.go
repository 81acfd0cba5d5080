//go:build race

package cgfs

// raceEnabled: the race detector allocates and makes sync.Pool forget.
const raceEnabled = true
