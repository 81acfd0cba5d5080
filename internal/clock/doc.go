// Package clock waits for and reads the kernel's clocks: an alarm at a time of the wall clock, and the CPU time that pieces of work have used.
package clock
