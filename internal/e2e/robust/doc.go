// Package robust holds tests of what a running server survives: processes that
// are killed, reloads, certificates that change, a stop, an upgrade, limits. They
// talk to it over its ports alone. It has no code of its own.
package robust
