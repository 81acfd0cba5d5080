//go:build race

package account

// raceEnabled: the race detector allocates and makes sync.Pool forget.
const raceEnabled = true
