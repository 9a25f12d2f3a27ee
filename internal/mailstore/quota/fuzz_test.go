package quota

import (
	"bytes"
	"testing"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/memstore"
	"rookery/internal/vfs"
	"rookery/internal/vfs/memfs"
)

func sampleRecord() record {
	return record{name: keyOf("INBOX"), guid: mailstore.GUID{1, 2}, validity: 3, next: 9, messages: 2, underWay: 1, octets: 77, class: Held}
}

func sampleHeader() header {
	return header{boot: 1, generation: 2, counted: Use{3, 4}, reserved: Use{5, 6}, underWay: 7, records: 8, flags: 1, warned: [2]uint8{80, 95}, above: [2]uint8{50, 60}, held: Use{9, 10}, looked: 11}
}

func TestCodec(t *testing.T) {
	h, r := sampleHeader(), sampleRecord()
	if got, ok := decodeHeader(h.encode()); !ok || got != h {
		t.Errorf("%+v", got)
	}
	if got, ok := decodeRecord(r.encode()); !ok || got != r {
		t.Errorf("%+v", got)
	}
	for i := range headSize { // one bit anywhere
		b := h.encode()
		b[i] ^= 4
		if _, ok := decodeHeader(b); ok {
			t.Errorf("octet %d of the header is not guarded", i)
		}
	}
	for i := range recordSize {
		b := r.encode()
		b[i] ^= 4
		if _, ok := decodeRecord(b); ok {
			t.Errorf("octet %d of a record is not guarded", i)
		}
	}
}

// FuzzState opens a store whose count is any bytes: what they do not prove is
// counted again, and nothing else comes of them.
func FuzzState(f *testing.F) {
	h, r := sampleHeader(), sampleRecord()
	h.flags, h.records = 0, 1
	f.Add(append(h.encode(), r.encode()...))
	f.Add(h.encode())
	f.Add([]byte("RKQUOTA1"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		if h, ok := decodeHeader(data); ok && !bytes.Equal(h.encode()[:88], data[:88]) && data[63] == 0 {
			t.Errorf("a header that is read is not written so: %x", data[:headSize])
		}
		disk := memfs.New(memfs.Options{})
		file, err := disk.OpenFile(stateFile, vfs.Write|vfs.Create, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		file.Write(data)
		file.Close()
		s := Wrap(memstore.New(memstore.Options{}), Options{FS: disk, Limits: Limits{Octets: 10}})
		q, ok, err := s.Quota()
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		if h, whole := decodeHeader(data); q.StorageUsed != 0 && (!whole || h.boot != bootKey(disk.BootID())) {
			t.Errorf("use of an empty store is %d", q.StorageUsed)
		}
		if err := s.Recalc(); err != nil {
			t.Fatal(err)
		}
		if q, _, err := s.Quota(); err != nil || q.StorageUsed != 0 || q.MessagesUsed != 0 {
			t.Errorf("recounted use of an empty store is %+v, %v", q, err)
		}
	})
}
