package engine

import (
	"slices"
	"testing"

	"rookery/internal/mailstore"
)

// Keywords are the same whatever their case; one that a message has keeps its spelling.
func TestChangedKeywords(t *testing.T) {
	for _, test := range []struct {
		op               mailstore.FlagOp
		was, names, want []string
	}{
		{mailstore.AddFlags, []string{"$y", "k"}, []string{"$Y", "K2"}, []string{"$y", "K2", "k"}},
		{mailstore.RemoveFlags, []string{"$y", "k"}, []string{"$Y", "other"}, []string{"k"}},
		{mailstore.SetFlags, []string{"$y", "k"}, []string{"$Y"}, []string{"$Y"}},
	} {
		_, got := changed(mailstore.FlagChange{Op: test.op}, test.names, 0, test.was)
		if !slices.Equal(got, test.want) {
			t.Errorf("%v: %q with %q is %q, want %q", test.op, test.was, test.names, got, test.want)
		}
	}
}
