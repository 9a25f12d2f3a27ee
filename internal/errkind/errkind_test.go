package errkind

import (
	"errors"
	"io"
	"testing"
)

func TestEveryKindHasAName(t *testing.T) {
	if len(names) != int(lastKind) {
		t.Fatalf("%d names for %d kinds", len(names), lastKind)
	}
	if Kind(200).String() != "unknown kind" || Kind(200).Valid() || !IO.Valid() {
		t.Fatal("an unknown kind must say so")
	}
}

func TestTextAndChain(t *testing.T) {
	err := Wrap("select", New("open", NotFound, io.ErrUnexpectedEOF))
	if got := err.Error(); got != "select: open: not found: unexpected EOF" {
		t.Fatal(got)
	}
	if Of(err) != NotFound || !Is(err, NotFound) || Is(nil, Other) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal("kind or chain lost")
	}
	if Of(io.EOF) != Other || Wrap("x", nil) != nil {
		t.Fatal("plain errors are Other, nil stays nil")
	}
	if got := Newf("store", Limit, "64 keywords").Error(); got != "store: limit reached: 64 keywords" {
		t.Fatal(got)
	}
}
