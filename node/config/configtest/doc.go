// Package configtest makes the sources of a configuration for tests, files and
// environments, and reads the exit code of a fault that is found in them. It does not
// import config, whose own tests use it, and no program imports it. It starts no
// goroutines.
package configtest
