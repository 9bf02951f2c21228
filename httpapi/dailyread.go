package httpapi

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"time"
)

// period is a time that is asked about, from since up to until. A zero until is
// now.
type period struct{ since, until time.Time }

func (p period) has(t time.Time) bool {
	return !t.Before(p.since) && (p.until.IsZero() || t.Before(p.until))
}

// days returns those of days that have a part in the period. A line may stand in
// the file of the day after its own, so that one is looked at, too.
func (p period) days(days []string) []string {
	return slices.DeleteFunc(slices.Clone(days), func(day string) bool {
		return day < p.since.UTC().Format(dailyFile) || !p.until.IsZero() && day > p.until.UTC().AddDate(0, 0, 1).Format(dailyFile)
	})
}

// read lets f read the files of the days in the period, of which there is one at a
// time, and the others wait. What was noted before is in them.
func (l *dailyLog[L]) read(ctx context.Context, p period, f func(days []string) error) (from time.Time, err error) {
	select {
	case l.reading <- struct{}{}:
		defer func() { <-l.reading }()
	case <-ctx.Done():
		return from, ctx.Err()
	}
	if err := l.flush(ctx); err != nil {
		return from, err
	}
	days, err := l.daysKept()
	if err != nil {
		return from, fmt.Errorf("%s: %w", l.cfg.what, err)
	}
	from = p.since
	if len(days) > 0 {
		if first, err := time.Parse(dailyFile, days[0]); err == nil && first.After(from) {
			from = first
		}
	}
	return from, f(p.days(days))
}

// newest returns the newest lines that match, newest first, at most limit; more
// says that there are others, and from since when there are any files.
func (l *dailyLog[L]) newest(ctx context.Context, p period, limit int, match func(line []byte) (L, bool), when func(L) time.Time) (found []L, more bool, from time.Time, err error) {
	from, err = l.read(ctx, p, func(days []string) error {
		for _, day := range slices.Backward(days) {
			if more {
				break
			}
			room := limit - len(found)
			var newest []L // a ring of room lines and one more
			err := l.lines(ctx, day, func(line []byte) error {
				if a, ok := match(line); ok {
					if newest = append(newest, a); len(newest) > 2*room+1 {
						newest = append(newest[:0], newest[len(newest)-room-1:]...)
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
			if extra := len(newest) - room; extra > 0 {
				newest, more = newest[extra:], true
			}
			slices.SortStableFunc(newest, func(a, b L) int { return when(b).Compare(when(a)) })
			found = append(found, newest...)
		}
		return nil
	})
	return found, more, from, err
}

// lines calls f with each line of a day's file, without its newline, which is good
// until f returns.
func (l *dailyLog[L]) lines(ctx context.Context, day string, f func(line []byte) error) error {
	file, err := l.root.Open(day + dailySuffix)
	if errors.Is(err, fs.ErrNotExist) { // too old by now
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %s: %w", l.cfg.what, day, err)
	}
	defer file.Close()
	lines := bufio.NewReaderSize(file, dailyBuffer)
	for n := 0; ; n++ {
		if n%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			continue // none that this program wrote
		}
		if errors.Is(err, io.EOF) { // a line without an end is being written
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %s: %w", l.cfg.what, day, err)
		}
		if err := f(line[:len(line)-1]); err != nil {
			return err
		}
	}
}

// appendGap appends the line that says how many are missing at this place.
func appendGap(b []byte, now time.Time, dropped int64) []byte {
	b = append(b, `{"time":"`...)
	b = now.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","dropped":`...)
	b = strconv.AppendInt(b, dropped, 10)
	return append(b, "}\n"...)
}
