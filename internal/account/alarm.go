package account

import "time"

// timerAlarm is an [Alarm] of the runtime's timers, for which tests have a clock of
// their own. It does not see that the wall clock is stepped.
type timerAlarm struct {
	now  func() time.Time
	wake chan struct{}
}

func (a *timerAlarm) Wait(until time.Time) (due bool, err error) {
	timer := time.NewTimer(until.Sub(a.now()))
	defer timer.Stop()
	select {
	case <-a.wake:
		return false, nil
	case <-timer.C:
		return true, nil
	}
}

func (a *timerAlarm) Wake() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}
