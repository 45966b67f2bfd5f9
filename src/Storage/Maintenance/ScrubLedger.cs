// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;

namespace Tidemark.Storage;

/// <summary>
/// When packs were last found sound, by the records under scrub/ (docs/format.md section 8). Advice: what is not known was checked when
/// it was written. Memory: an entry for each pack that a record names.
/// </summary>
internal sealed class ScrubLedger
{
    private const int FoldAbove = 64; // records: two months of nightly calls
    private const int ReadMonths = 24;
    private readonly RepositoryContext _context;
    private readonly Dictionary<string, DateTimeOffset> _packs = new(StringComparer.Ordinal);
    private readonly Dictionary<string, DateTimeOffset> _data = new(StringComparer.Ordinal);
    private readonly List<string> _records = [];

    private ScrubLedger(RepositoryContext context) => _context = context;

    /// <summary>What the records say; those that the store fails for good to read say nothing, and are told.</summary>
    public static async Task<ScrubLedger> ReadAsync(
        RepositoryContext context, Action<string, StoreException> unread, CancellationToken cancellationToken)
    {
        var ledger = new ScrubLedger(context);
        var oldest = MonthOf(context.Clock.GetUtcNow().AddMonths(-ReadMonths));
        var keys = new List<string>();
        await foreach (var info in context.Store.ListAsync(ObjectNames.Ledger, cancellationToken))
        {
            if (string.CompareOrdinal(info.Key, oldest) >= 0)
                keys.Add(info.Key);
        }

        var folded = new HashSet<string>(StringComparer.Ordinal);
        foreach (var key in keys.Order(StringComparer.Ordinal))
        {
            if (await TryReadAsync(context, key, unread, cancellationToken) is not { } record)
                continue;
            ledger._records.Add(key);
            folded.UnionWith(record.Folds);
            foreach (var check in record.Checks)
                ledger.Add(check.Level == "data", check.Packs, check.Time);
        }

        ledger._records.RemoveAll(folded.Contains);
        return ledger;
    }

    /// <summary>When a pack was last found sound at this level or a deeper one; else when its run began.</summary>
    public DateTimeOffset LastCheck(PackName pack, VerifyLevel level)
    {
        var name = NameOf(pack);
        var last = pack.Run.Time;
        foreach (var known in level == VerifyLevel.Data ? [_data] : new[] { _data, _packs })
        {
            if (known.TryGetValue(name, out var time) && time > last)
                last = time;
        }

        return last;
    }

    /// <summary>
    /// Enters packs that were found sound, in a record of its own, or together with all others where those have become many. A store
    /// that can't be written to keeps no ledger.
    /// </summary>
    public async Task EnterAsync(VerifyLevel level, IReadOnlyCollection<PackName> sound, CancellationToken cancellationToken)
    {
        if (sound.Count == 0)
            return;
        var now = _context.Clock.GetUtcNow();
        string[] names = [.. sound.Select(NameOf).Order(StringComparer.Ordinal)];
        Add(level == VerifyLevel.Data, names, now);
        var folds = _records.Count >= FoldAbove;
        var record = new LedgerDocument
        {
            Time = now,
            Host = _context.Host,
            Checks = folds ? [.. All()] : [new LedgerCheck(now, level == VerifyLevel.Data ? "data" : "packs", names)],
            Folds = folds ? [.. _records] : [],
        };
        var key = MonthOf(now) + Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16));
        try
        {
            var plain = JsonSerializer.SerializeToUtf8Bytes(record, FormatJson.Default.LedgerDocument);
            await _context.Store.PutIfAbsentAsync(key, _context.Close(key, plain), cancellationToken);
            foreach (var old in record.Folds)
                await _context.Store.DeleteAsync(old, cancellationToken);
        }
        catch (StoreException failure) when (!failure.IsTransient)
        {
            return; // may not create, or not delete: a folded record that stays is not counted twice
        }
    }

    private static string NameOf(PackName pack) => pack.Key[ObjectNames.Packs.Length..];

    private static string MonthOf(DateTimeOffset time) =>
        string.Create(CultureInfo.InvariantCulture, $"{ObjectNames.Ledger}{time.UtcDateTime:yyyyMM}/");

    private static async ValueTask<LedgerDocument?> TryReadAsync(
        RepositoryContext context, string key, Action<string, StoreException> unread, CancellationToken cancellationToken)
    {
        try
        {
            return await context.ReadSealedAsync(key, cancellationToken) is { } plain
                ? FormatJson.Read(plain, FormatJson.Default.LedgerDocument)
                : null;
        }
        catch (Exception failure) when (failure is RepositoryDamagedException or JsonException)
        {
            return null; // then its packs are checked sooner
        }
        catch (StoreException failure) when (!failure.IsTransient)
        {
            unread(key, failure);
            return null;
        }
    }

    private void Add(bool isData, IEnumerable<string> packs, DateTimeOffset time)
    {
        var known = isData ? _data : _packs;
        foreach (var pack in packs)
        {
            if (!known.TryGetValue(pack, out var before) || before < time)
                known[pack] = time;
        }
    }

    private IEnumerable<LedgerCheck> All()
    {
        foreach (var (level, known) in new[] { ("packs", _packs), ("data", _data) })
        {
            foreach (var group in known.GroupBy(entry => entry.Value, entry => entry.Key).OrderBy(group => group.Key))
                yield return new LedgerCheck(group.Key, level, [.. group.Order(StringComparer.Ordinal)]);
        }
    }
}

/// <summary>A record of the ledger.</summary>
internal sealed record LedgerDocument
{
    public int V { get; init; } = 1;

    public DateTimeOffset Time { get; init; }

    public string Host { get; init; } = "";

    public IReadOnlyList<LedgerCheck> Checks { get; init; } = [];

    /// <summary>Records that this one replaces.</summary>
    public IReadOnlyList<string> Folds { get; init; } = [];
}

/// <summary>Packs found sound at one time; <c>Packs</c> are keys without "packs/".</summary>
internal sealed record LedgerCheck(DateTimeOffset Time, string Level, IReadOnlyList<string> Packs);
