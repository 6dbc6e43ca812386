// Package span reads durations as people write them: Go's syntax with days, such as
// "30d", "14d12h" or "90m". A day is 24 hours, whatever the calendar says. The package
// starts no goroutines and keeps no state. Sizes are read beside them, with their units:
// "64MiB".
package span
