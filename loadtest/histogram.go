package loadtest

import "time"

// Histogram: API; the implementation is the engine author's (HdrHistogram-go inside).
type Histogram struct{}

func (h *Histogram) Count() int64                     { panic("todo") }
func (h *Histogram) Min() time.Duration               { panic("todo") }
func (h *Histogram) Max() time.Duration               { panic("todo") }
func (h *Histogram) Mean() time.Duration              { panic("todo") }
func (h *Histogram) Quantile(q float64) time.Duration { panic("todo") }
