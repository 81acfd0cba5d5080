//go:build !race

package cgfs

const raceEnabled = false
