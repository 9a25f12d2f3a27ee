package vfs

import (
	"errors"
	"io"
	"runtime/debug"
	"testing"
)

func TestMap(t *testing.T) {
	o, err := OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	f, err := o.OpenFile("a", Read|Write|Create, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("hello"), 0); err != nil {
		t.Fatal(err)
	}
	data, unmap, err := Map(f, 5)
	if err != nil || string(data) != "hello" {
		t.Fatalf("%q, %v", data, err)
	}
	f.WriteAt([]byte("J"), 0)
	if string(data) != "Jello" {
		t.Fatalf("a shared map shows %q", data)
	}
	if err := f.Truncate(0); err != nil {
		t.Fatal(err)
	}
	func() {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		defer func() {
			if recover() == nil {
				t.Error("a page that is gone was read")
			}
		}()
		_ = data[0] + 1
		t.Log(data[0])
	}()
	if err := unmap(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Map(struct{ File }{f}, 5); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("too few bytes: %v", err)
	}
	f.WriteAt([]byte("plain"), 0)
	if data, unmap, err := Map(struct{ File }{f}, 5); err != nil || string(data) != "plain" || unmap() != nil {
		t.Fatalf("without maps: %q, %v", data, err)
	}
}
