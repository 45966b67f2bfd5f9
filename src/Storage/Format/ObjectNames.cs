// SPDX-License-Identifier: Apache-2.0
using System.Globalization;

namespace Tidemark.Storage;

/// <summary>Every key of docs/format.md section 3, made in one place.</summary>
internal static class ObjectNames
{
    public const string Config = "config";
    public const string Keys = "keys/";
    public const string Packs = "packs/";
    public const string Index = "index/";
    public const string Points = "points/";
    public const string Retired = "retire/";
    public const string Expired = "expire/";
    public const string Labels = "labels/";
    public const string Runs = "runs/";
    public const string Collector = "gc/";
    public const string Features = "gc/feature/";
    private const string DomainFeature = Features + "read/domain-";
    public const string Quarantine = "bad/";
    public const string Ledger = "scrub/";

    /// <summary>In a run's key where a machine's id stands otherwise.</summary>
    public const string CollectorMachine = "_gc";

    /// <summary>Stands for the machine of a reader of several.</summary>
    public const string ReaderMachine = "_read";

    public static string Segment(RunId run, int number) => string.Create(CultureInfo.InvariantCulture, $"{Index}{run}-{number}");

    /// <summary>The run a segment of the first level belongs to, or null for any other name.</summary>
    public static RunId? RunOfSegment(string key) =>
        key.Length > Index.Length + 33 && key[Index.Length + 32] == '-' && RunId.TryParse(key.Substring(Index.Length, 32), out var run)
            ? run
            : null;

    /// <summary>Where a run's packs lie.</summary>
    public static string PacksOf(WriterId writer, RunId run) => $"{Packs}{writer}/{run}/";

    public static string Run(WriterId writer, string machine, RunId run) => $"runs/{writer}/{machine}/{run}";

    /// <summary>Where a run's tombstone lies, and the point of one that commits; for a collect run too.</summary>
    public static string Fence(string machine, RunId run) => $"{Points}{machine}/{run}";

    public static string FoldedSegment(int epoch, int number, BlobId plainHash) =>
        string.Create(CultureInfo.InvariantCulture, $"{Index}g{epoch:D8}-{number}-{plainHash}");

    /// <summary>The epoch whose collectors wrote a folded segment, or null for any other name.</summary>
    public static int? EpochOfSegment(string key) =>
        key.Length > Index.Length + 10 && key[Index.Length] == 'g' && key[Index.Length + 9] == '-'
            ? ParseNumber(key.AsSpan(Index.Length + 1, 8))
            : null;

    public static string Epoch(int epoch, string record) => string.Create(CultureInfo.InvariantCulture, $"{Collector}{epoch:D8}/{record}");

    /// <summary>Splits "gc/epoch/record"; null for what is no such key.</summary>
    public static (int Epoch, string Record)? ParseEpoch(string key)
    {
        const int Digits = 8;
        if (key.Length < Collector.Length + Digits + 2 || key[Collector.Length + Digits] != '/'
            || ParseNumber(key.AsSpan(Collector.Length, Digits)) is not { } epoch)
            return null;
        return (epoch, key[(Collector.Length + Digits + 1)..]);
    }

    /// <summary>What says that a key domain exists.</summary>
    public static string Domain(string domain) => DomainFeature + domain;

    /// <summary>The key domain that an object registers, or null for any other object.</summary>
    public static string? ParseDomain(string key) =>
        key.StartsWith(DomainFeature, StringComparison.Ordinal) && KeyDomain.IsValid(key[DomainFeature.Length..])
            ? key[DomainFeature.Length..]
            : null;

    public static string Label(MachineId machine, RunId run, int number) =>
        string.Create(CultureInfo.InvariantCulture, $"{Labels}{machine}/{run}.{number}");

    /// <summary>Splits "labels/vmid/rid.n"; null for what is no such key.</summary>
    public static (string Point, int Number)? ParseLabel(string key)
    {
        var dot = key.LastIndexOf('.');
        return dot > 0 && ParseNumber(key.AsSpan(dot + 1)) is { } number && ParsePoint(key[..dot]) is { Disk: null }
            ? (key[Labels.Length..dot], number)
            : null;
    }

    /// <summary>Splits "runs/wid/vmid/rid", with what follows a dot; null for what is no such key.</summary>
    public static (string Writer, string Machine, RunId Run, string? Suffix)? ParseRun(string key)
    {
        var parts = key.Split('/');
        if (parts.Length != 4 || parts[3].Length < 32 || !RunId.TryParse(parts[3][..32], out var run))
            return null;
        if (parts[3].Length == 32)
            return (parts[1], parts[2], run, null);
        return parts[3][32] == '.' ? (parts[1], parts[2], run, parts[3][33..]) : null;
    }

    public static string Point(MachineId machine, RunId run) => $"{Points}{machine}/{run}";

    public static string Retire(MachineId machine, RunId run) => $"{Retired}{machine}/{run}";

    public static string Expire(MachineId machine, RunId run) => $"{Expired}{machine}/{run}";

    public static string ExpireDisk(MachineId machine, RunId run, string disk) => $"{Expired}{machine}/{run}.{Escape(disk)}";

    public static string RetireDisk(MachineId machine, RunId run, string disk) => $"{Retired}{machine}/{run}.{Escape(disk)}";

    /// <summary>Splits "prefix/vmid/rid" and "prefix/vmid/rid.disk"; null for what is no such key.</summary>
    public static (MachineId Machine, RunId Run, string? Disk)? ParsePoint(string key)
    {
        var parts = key.Split('/');
        if (parts.Length != 3 || !MachineId.IsValid(parts[1]) || parts[2].Length < 32 || !RunId.TryParse(parts[2][..32], out var run))
            return null;
        if (parts[2].Length == 32)
            return (new MachineId(parts[1]), run, null);
        return parts[2][32] == '.' ? (new MachineId(parts[1]), run, Uri.UnescapeDataString(parts[2][33..])) : null;
    }

    private static int? ParseNumber(ReadOnlySpan<char> digits) =>
        int.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : null;

    /// <summary>The n-th record of damage to a pack.</summary>
    public static string QuarantineOf(string pack, int number)
    {
        var name = Quarantine + pack[Packs.Length..];
        return number == 0 ? name : string.Create(CultureInfo.InvariantCulture, $"{name}.{number}");
    }

    /// <summary>The pack a record of damage is about.</summary>
    public static string PackOfQuarantine(string key)
    {
        var dot = key.LastIndexOf('.');
        return Packs + (dot < 0 ? key[Quarantine.Length..] : key[Quarantine.Length..dot]);
    }

    private static string Escape(string disk)
    {
        var text = new System.Text.StringBuilder();
        foreach (var value in System.Text.Encoding.UTF8.GetBytes(disk))
        {
            if (char.IsAsciiLetterOrDigit((char)value) || value is (byte)'_' or (byte)'-')
                text.Append((char)value);
            else
                text.Append(CultureInfo.InvariantCulture, $"%{value:X2}");
        }

        return text.ToString();
    }
}
