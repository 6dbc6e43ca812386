// Package geotest makes small databases in MaxMind's format, for tests.
package geotest
