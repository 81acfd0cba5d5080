// Package e2e tests the built daemon from outside: a real binary on the real kernel, with real ZooKeeper and Redis servers,
// judged only by its contract (cgroup files, exit statuses, HTTP, websocket, Redis keys).
package e2e
