// Package settings declares every setting of the server, once.
//
// A declaration holds the name, the type, the default, the unit, the limits,
// the roles that receive the value and the text for the administrator. The
// commented files of conf.d, docs/SETTINGS.md, the manual page and what
// `rookeryctl config` shows are all printed from it.
//
// Every process may import it: master and rookeryctl fill a Set (through
// internal/confload, which alone reads TOML), the other processes Decode the
// part of their role from the descriptor that master hands them, and read a
// value through its declaration:
//
//	set, err := settings.Decode(settings.RoleAuthd, bytes)
//	if settings.AuthVerbose.Get(set) { … }
//	for _, db := range set.Passdbs() { … }
//
// It is pure: no file, no network, no clock, no environment. It must never
// know TOML.
package settings

//go:generate go run ./gen ../..
