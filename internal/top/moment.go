package top

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ParseMoment reads what people type for a second: "03:12:07" or "03:12" (the
// last such moment until now, in now's time zone), "2026-11-22 03:12:07",
// "-90s", or Unix seconds.
func ParseMoment(text string, now time.Time) (int64, error) {
	text = strings.TrimSpace(text)
	for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04"} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t.Unix(), nil
		}
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t.Unix(), nil
	}
	for _, layout := range []string{"15:04:05", "15:04"} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			t = time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), t.Second(), 0, now.Location())
			if t.After(now) {
				t = t.AddDate(0, 0, -1)
			}
			return t.Unix(), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d <= 0 {
		return now.Add(d).Unix(), nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n > 1e8 {
		return n, nil
	}
	return 0, fmt.Errorf("%q is no moment: want 03:12:07, 2026-11-22 03:12:07, -90s, or Unix seconds", text)
}
