// Package settings tests that every setting has an effect, that each diagnostic
// of the configuration names its file and line, in rookeryctl and at the start,
// and that a reload takes all of a good configuration and nothing of a bad one.
//
// Tests only. They start whole servers through internal/e2e/harness.
package settings
