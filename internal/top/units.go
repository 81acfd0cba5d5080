package top

import (
	"fmt"
	"math"
)

// bytesText is a number of bytes in at most six characters: "0", "512", "1.5K",
// "23M" (powers of 1024).
func bytesText(v float64) string {
	if math.IsNaN(v) {
		return "-"
	}
	const units = "KMGTPE"
	if v < 1000 {
		return fmt.Sprintf("%.0f", v)
	}
	i := -1
	for v >= 1000 && i < len(units)-1 {
		v /= 1024
		i++
	}
	if v < 10 {
		return fmt.Sprintf("%.1f%c", v, units[i])
	}
	return fmt.Sprintf("%.0f%c", v, units[i])
}

// percentText is a share of one core, in percent.
func percentText(cores float64) string {
	if math.IsNaN(cores) {
		return "-"
	}
	return fmt.Sprintf("%.1f", 100*cores)
}

func countText(v float64) string {
	if math.IsNaN(v) {
		return "-"
	}
	return fmt.Sprintf("%.0f", v)
}
