package journal

import (
	"bytes"
	"slices"
	"testing"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
	"rookery/internal/vfs"
	"rookery/internal/vfs/memfs"
)

// What decodes encodes to the same bytes.
func FuzzRecord(f *testing.F) {
	m := msg(3, 50)
	e := Record{Kind: Expunge, Box: mailstore.GUID{1}, UIDValidity: 7, UIDs: numset.Of(1, 2, 9, 4294967295), Payload: []byte("p")}
	for _, r := range []Record{m, e, {Kind: Intent, Payload: []byte("x")}, {Kind: cancel, Ref: 4, UID: 2}} {
		f.Add(appendRecord(nil, &r))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, rest, ok := decodeRecord(b)
		if !ok {
			return
		}
		if got := appendRecord(nil, &r); !bytes.Equal(got, b[:len(b)-len(rest)]) {
			t.Fatalf("%x came back as %x", b[:len(b)-len(rest)], got)
		}
	})
}

// A file with any damage opens, recovers or says what is wrong, takes records,
// and gives them back. The fuzzer's bytes are laid over a good file in places
// that they choose.
func FuzzFile(f *testing.F) {
	var n notes
	disk := memfs.New(memfs.Options{})
	j, err := Open(manual(disk, &n))
	if err != nil {
		f.Fatal(err)
	}
	j.Recover(nil)
	for u := range uint32(30) {
		k, err := j.Append(Now, msg(u+1, 100), Record{Kind: Intent, Payload: []byte("i")})
		if err == nil {
			err = k.Wait()
		}
		if err != nil {
			f.Fatal(err)
		}
		k.Done()
	}
	file, _ := disk.OpenFile(FileName, vfs.Read, 0)
	good, err := vfs.ReadAll(file, FileName, fileSize)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint32(segmentSize+blockSize), good[segmentSize+blockSize:segmentSize+2*blockSize], uint32(segmentSize+9*blockSize))
	f.Add(uint32(24), []byte{0}, uint32(0))
	f.Fuzz(func(t *testing.T, at uint32, noise []byte, again uint32) {
		bad := slices.Clone(good)
		copy(bad[int(at)%len(bad):], noise)
		copy(bad[int(again)%len(bad):], noise)
		disk := memfs.New(memfs.Options{BootID: "later"})
		w, _ := disk.OpenFile(FileName, vfs.Write|vfs.Create, 0o600)
		w.Write(bad)
		w.Close()
		var n notes
		j, err := Open(manual(disk, &n))
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Recover(func(r Record) error {
			if r.Kind == Message && r.UID <= 30 && string(r.Data) != string(msg(r.UID, 100).Data) {
				t.Errorf("UID %d came back as another", r.UID)
			}
			return nil
		}); err != nil {
			if !errkind.Is(err, errkind.Unavailable) {
				t.Fatal(err)
			}
			return
		}
		k, err := j.Append(Now, msg(77, 10))
		if err == nil {
			err = k.Wait()
		}
		if err != nil {
			t.Fatal(err)
		}
		_, got := start(t, manual(disk.Survive(memfs.Lost, 1), &n))
		if !slices.Equal(uids(got), []uint32{77}) {
			t.Fatalf("replayed %v", uids(got))
		}
	})
}
