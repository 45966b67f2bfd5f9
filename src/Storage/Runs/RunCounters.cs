// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;

namespace Tidemark.Storage;

/// <summary>The stages of a run's pipeline.</summary>
public enum RunStage
{
    Hash,
    Lookup,
    Compress,
    Verify,
    Seal,
    Append,
    PackHash,
    Write,
    Sync,
    Tree,
}

/// <summary>Time spent in each stage, summed over threads: of those that only compute, that is CPU time. Safe from any thread.</summary>
public sealed class RunCounters
{
    private readonly long[] _ticks = new long[(int)RunStage.Tree + 1];

    /// <summary>Time in one stage so far.</summary>
    public TimeSpan this[RunStage stage] => Stopwatch.GetElapsedTime(0, Interlocked.Read(ref _ticks[(int)stage]));

    internal Measurement Measure(RunStage stage) => new(this, stage, Stopwatch.GetTimestamp());

    internal readonly struct Measurement(RunCounters counters, RunStage stage, long start) : IDisposable
    {
        public void Dispose() => Interlocked.Add(ref counters._ticks[(int)stage], Stopwatch.GetTimestamp() - start);
    }
}
