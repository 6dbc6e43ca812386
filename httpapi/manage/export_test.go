package manage

// The bounds, for tests over the whole API.
const (
	MaxAllowBody   = maxAllowBody
	MaxImportBody  = maxImportBody
	MaxName        = maxName
	MaxEnvironment = maxEnvironment
	MaxMetaName    = maxMetaName
	MaxMetaValue   = maxMetaValue
	MaxReason      = maxReason
	MaxNote        = maxNote
	MaxRegion      = maxRegion
	MaxBackups     = maxBackups
	ImportStep     = importStep
	BulkStep       = bulkStep
)

// StepFor is the default step of usage.
var StepFor = stepFor

// ImportedLine is the result of one line of an import.
type ImportedLine = importedLine

// SetSending sets the number of backups that are being sent.
func (h *Backup) SetSending(n int32) { h.sending.Store(n) }

// Sending is that number.
func (h *Backup) Sending() int32 { return h.sending.Load() }

// Worse is the report of a revocation in steps.
var Worse = worse
