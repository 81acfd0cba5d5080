package account

import "sync/atomic"

// budget bounds the bytes of all answers together. Nobody waits for it: who gets
// nothing is told to come back.
type budget struct {
	limit int64
	used  atomic.Int64
}

// take reserves n bytes. One answer larger than the whole budget is let through
// when it is alone.
func (b *budget) take(n int64) (*grant, bool) {
	g := &grant{budget: b}
	return g, g.grow(n)
}

// grant is one answer's share.
type grant struct {
	budget *budget
	held   int64
}

func (g *grant) grow(n int64) bool {
	used := g.budget.used.Add(n)
	if used > g.budget.limit && used != g.held+n {
		g.budget.used.Add(-n)
		return false
	}
	g.held += n
	return true
}

func (g *grant) shrink(n int64) {
	g.held -= n
	g.budget.used.Add(-n)
}

func (g *grant) release() { g.shrink(g.held) }
