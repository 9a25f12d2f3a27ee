package fetch

import (
	"io"

	"golang.org/x/text/transform"
)

// Lines reads text as decode does.
func Lines(r io.Reader) io.Reader { return transform.NewReader(r, &lines{}) }
