package shares

import (
	"errors"
	"fmt"
	"io"

	"rookery/internal/ipc/redeemmsg"
	"rookery/internal/vfs"
)

// files are the two on disk. One goroutine uses them.
type files struct {
	pair       [2]vfs.File
	now        int    // which of the two counts
	generation uint64 // of it; 0: there is none yet
	end        int64  // of it
	live       int64  // octets of records that count, about
	broken     bool   // what stands at the end of it is not known
}

// Found tells what Load came upon.
type Found struct {
	Fresh  bool   // there was no list
	Damage string // what of it was lost; "" if nothing
}

// slack is how much of a file may be records that do not count any more, beside as
// much as there is that does.
const slack = 1 << 20

// load reads the file that counts into list.
func (f *files) load(list *List) (found Found, err error) {
	var generations [2]uint64
	var sizes [2]int64
	for i, file := range f.pair {
		if generations[i], sizes[i], err = generationOf(file); err != nil {
			return found, err
		}
	}
	if generations[1] > generations[0] {
		f.now = 1
	}
	f.generation = generations[f.now]
	if f.generation == 0 {
		f.now = 0
		found.Fresh = sizes == [2]int64{}
		if !found.Fresh {
			found.Damage = "neither file has a head that can be read"
		}
		return found, nil
	}
	return f.read(list, sizes[f.now])
}

func generationOf(file vfs.File) (generation uint64, size int64, err error) {
	info, err := file.Stat()
	if err != nil {
		return 0, 0, err
	}
	head := make([]byte, headerSize)
	n, err := file.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, 0, err
	}
	return parseHeader(head[:n]), info.Size, nil
}

// read takes in the records, and cuts off what is not whole.
func (f *files) read(list *List, size int64) (found Found, err error) {
	file := f.pair[f.now]
	f.end = headerSize
	head := make([]byte, recordHead)
	var payload []byte
	for f.end < size {
		at := f.end
		if at+recordHead > size {
			break
		}
		if _, err := file.ReadAt(head, at); err != nil {
			return found, err
		}
		length, sum, ok := recordLength(head)
		if !ok || at+recordHead+int64(length) > size {
			break
		}
		payload = append(payload[:0], make([]byte, length)...)
		if _, err := file.ReadAt(payload, at+recordHead); err != nil {
			return found, err
		}
		if recordSum(f.generation, payload) != sum {
			break
		}
		f.end += recordHead + int64(length)
		owner, told, err := parsePayload(payload)
		if err == nil {
			_, err = list.Set(owner, told)
		}
		if err != nil {
			found.Damage = fmt.Sprintf("a record is not of this version: %v", err)
		}
	}
	if f.end < size {
		found.Damage = fmt.Sprintf("its last %d octets are not whole", size-f.end)
		if err := file.Truncate(f.end); err != nil {
			return found, err
		}
	}
	f.live = f.end // not more than that: written anew a little late, once
	return found, nil
}

// save puts owners' lists on disk, as they are in list now.
func (f *files) save(list *List, owners []string) error {
	if f.generation == 0 || f.broken || f.end > 2*f.live+slack {
		return f.rewrite(list)
	}
	var out []byte
	for _, owner := range owners {
		out = appendRecord(out, f.generation, owner, list.told(owner))
	}
	file := f.pair[f.now]
	_, err := file.WriteAt(out, f.end)
	if err == nil {
		err = file.DataSync()
	}
	if err != nil {
		f.broken = true
		return err
	}
	f.end += int64(len(out))
	return nil
}

// rewrite writes all to the other file, and then lets it count.
func (f *files) rewrite(list *List) error {
	other := 1 - f.now
	if f.generation == 0 {
		other = f.now
	}
	file, generation := f.pair[other], f.generation+1
	if err := file.Truncate(0); err != nil {
		return err
	}
	end := int64(headerSize)
	var out []byte
	write := func() error {
		_, err := file.WriteAt(out, end)
		end += int64(len(out))
		out = out[:0]
		return err
	}
	for _, owner := range list.Owners() {
		out = appendRecord(out, generation, owner, list.told(owner))
		if len(out) > redeemmsg.MaxOwnerBytes {
			if err := write(); err != nil {
				return err
			}
		}
	}
	if err := write(); err != nil {
		return err
	}
	if err := file.DataSync(); err != nil {
		return err
	}
	if _, err := file.WriteAt(appendHeader(generation), 0); err != nil {
		return err
	}
	if err := file.DataSync(); err != nil {
		return err
	}
	f.now, f.generation, f.end, f.live, f.broken = other, generation, end, end, false
	return nil
}
