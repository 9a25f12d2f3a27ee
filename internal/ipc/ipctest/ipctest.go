// Package ipctest holds the tests that every channel must pass: each message
// comes back as it went, cut or lengthened packets are refused, and no packet
// makes the decoder panic or accept what it would not write.
//
// Only tests import it.
package ipctest

import (
	"bytes"
	"reflect"
	"testing"

	"rookery/internal/ipc"
)

// RoundTrip checks a sample of each message of a channel, with every field set.
func RoundTrip(t *testing.T, p *ipc.Protocol, samples ...ipc.Message) {
	t.Helper()
	seen := map[ipc.Type]bool{}
	for _, m := range samples {
		seen[m.Type()] = true
		packet, err := p.Encode(m)
		if err != nil {
			t.Errorf("%T: %v", m, err)
			continue
		}
		back, _, err := p.Decode(packet, from(p, m.Type()))
		if err != nil || !reflect.DeepEqual(m, back) {
			t.Errorf("%T came back as %+v, %v; want %+v", m, back, err, m)
		}
		checkStrict(t, p, m, packet)
	}
	for _, d := range p.Defs {
		if !seen[d.New().Type()] {
			t.Errorf("no sample of %T", d.New())
		}
	}
}

func checkStrict(t *testing.T, p *ipc.Protocol, m ipc.Message, packet []byte) {
	t.Helper()
	side := from(p, m.Type())
	for n := range packet {
		if _, _, err := p.Decode(packet[:n], side); err == nil {
			t.Errorf("%T cut to %d of %d bytes was accepted", m, n, len(packet))
		}
	}
	if _, _, err := p.Decode(append(bytes.Clone(packet), 0), side); err == nil {
		t.Errorf("%T with a byte more was accepted", m)
	}
	if side != ipc.FromBoth {
		if _, _, err := p.Decode(packet, ipc.FromBoth&^side); err == nil {
			t.Errorf("%T from the wrong side was accepted", m)
		}
	}
}

func from(p *ipc.Protocol, t ipc.Type) ipc.From {
	for _, d := range p.Defs {
		if d.New().Type() == t {
			return d.From
		}
	}
	return 0
}

// Fuzz feeds packets to the decoder: what it takes, it must write the same.
func Fuzz(f *testing.F, p *ipc.Protocol, samples ...ipc.Message) {
	for _, m := range samples {
		packet, err := p.Encode(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packet)
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		for _, side := range []ipc.From{ipc.FromClient, ipc.FromServer} {
			m, _, err := p.Decode(packet, side)
			if err != nil {
				continue
			}
			again, err := p.Encode(m)
			if err != nil || (!bytes.Equal(again, packet) && !sameMessage(p, m, again, side)) {
				t.Fatalf("%T read from %x is written as %x, %v", m, packet, again, err)
			}
		}
	})
}

// sameMessage allows for fields with two forms of one value (addresses).
func sameMessage(p *ipc.Protocol, m ipc.Message, packet []byte, side ipc.From) bool {
	back, _, err := p.Decode(packet, side)
	return err == nil && reflect.DeepEqual(m, back)
}
