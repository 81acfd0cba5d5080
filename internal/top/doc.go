// Package top is the view of `cgrouparchd top`: which cgroup uses what, now or in any second that the daemon still holds.
//
// The model is pure: events go in, requests to the daemon and a text for the screen come out. Only terminal.go knows a
// terminal.
package top
