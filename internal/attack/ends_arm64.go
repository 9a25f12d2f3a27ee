package attack

import (
	"errors"

	"rookery/internal/sandbox"
)

// OtherNumbers has nothing to try: 32-bit calls need a 32-bit program.
func OtherNumbers(func() (sandbox.Report, error), bool) error {
	return errors.New("not on this machine")
}
