//go:build race

package nodetest_test

func init() { atOnce = "2" }
