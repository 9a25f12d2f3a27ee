// Package man holds the manual pages, which `make generate` writes from the
// settings' declarations and the programs' package comments. rookeryctl prints
// them.
package man

import "embed"

// Pages has the files rookery.toml.5, rookery.8 and so on.
//
//go:embed *.5 *.8
var Pages embed.FS
