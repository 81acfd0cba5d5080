// Package account samples the usage of every configured cgroup once a second,
// keeps the history in memory and in Redis, and answers queries about it.
//
// The parts, in the order in which a number passes through them:
//
//   - [Sampler] owns every kept file descriptor. A [Target] is compiled into
//     directories with open files; at the start of second n their numbers become
//     slot n.
//   - [Ring] holds the slots as numbers, packed, beside the layout they belong to.
//     They become JSON when somebody asks.
//   - [Writer] copies each slot to Redis with what remains of its expiry, on its
//     own schedule: the sampler never waits for it.
//   - A [Subscription] tells of new slots; rates are made where the numbers are.
//   - [Service] answers show_account from the ring, and after a restart from
//     Redis for what is older.
package account
