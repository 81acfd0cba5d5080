// Package reconcile makes the cgroups of this host follow the document: it
// compiles the document into the trees that each hierarchy should hold, observes
// what is there, plans the difference, and applies the plan.
//
// Compile and Diff are pure and deterministic: the same document and the same
// observation give the same plan, byte for byte. Only the observer reads, and
// only apply writes. Reconciliation is level-based: every trigger, be it a new
// document, an inotify event, a timer or a signal, says "look" and runs the same
// pass; a step that fails is found again by the next one.
package reconcile
