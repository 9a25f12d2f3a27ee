package child

import (
	"os"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"
)

func TestInfoRoundTrip(t *testing.T) {
	for _, i := range []Info{{}, {Strict: true}, {Spare: true, Settings: []byte{0, 1}}, {Strict: true, Spare: true, Listeners: []ListenerInfo{{"a", "imap", true}, {}, {"c", "pop3s", false}}, Settings: []byte("x")}} {
		got, err := DecodeInfo(i.Encode())
		if err != nil || !reflect.DeepEqual(got, i) {
			t.Errorf("%+v came back as %+v, %v", i, got, err)
		}
	}
	full := Info{Listeners: []ListenerInfo{{Name: "imap"}}}.Encode()
	for n := range full {
		if _, err := DecodeInfo(full[:n]); err == nil {
			t.Errorf("cut to %d of %d bytes was accepted", n, len(full))
		}
	}
}

func FuzzDecodeInfo(f *testing.F) {
	f.Add(Info{Strict: true, Listeners: []ListenerInfo{{"a", "imap", true}, {"b", "imaps", false}}, Settings: []byte("s")}.Encode())
	f.Add(Info{}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		i, err := DecodeInfo(b)
		if err != nil {
			return
		}
		again, err := DecodeInfo(i.Encode())
		if err != nil || !reflect.DeepEqual(i, again) {
			t.Fatalf("%+v came back as %+v, %v", i, again, err)
		}
	})
}

func TestSealed(t *testing.T) {
	f, err := Seal("x", []byte("content"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range 2 { // the offset does not matter
		if b, err := ReadSealed(int(f.Fd())); err != nil || string(b) != "content" {
			t.Errorf("%q %v", b, err)
		}
	}
	if _, err := f.WriteAt([]byte("C"), 0); err == nil {
		t.Error("a sealed descriptor was written to")
	}
	if err := f.Truncate(1); err == nil {
		t.Error("a sealed descriptor was cut")
	}
	plain, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if _, err := ReadSealed(int(plain.Fd())); err == nil {
		t.Error("a plain file was taken for a sealed one")
	}
	half, err := unix.MemfdCreate("x", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(half)
	unix.FcntlInt(uintptr(half), unix.F_ADD_SEALS, seals&^unix.F_SEAL_WRITE)
	if _, err := ReadSealed(half); err == nil {
		t.Error("a descriptor that can be written to was taken for a sealed one")
	}
}
