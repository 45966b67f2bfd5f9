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
    public const string Collector = "gc/";
    public const string Features = "gc/feature/";
    public const string Quarantine = "bad/";
    public const string Ledger = "scrub/";

    public static string Segment(RunId run, int number) => string.Create(CultureInfo.InvariantCulture, $"{Index}{run}-{number}");

    /// <summary>The run a segment of the first level belongs to, or null for any other name.</summary>
    public static RunId? RunOfSegment(string key) =>
        key.Length > Index.Length + 33 && key[Index.Length + 32] == '-' && RunId.TryParse(key.Substring(Index.Length, 32), out var run)
            ? run
            : null;

    public static string Run(WriterId writer, string machine, RunId run) => $"runs/{writer}/{machine}/{run}";

    public static string Point(MachineId machine, RunId run) => $"{Points}{machine}/{run}";

    public static string Retire(MachineId machine, RunId run) => $"{Retired}{machine}/{run}";

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
