// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using System.Globalization;
using System.Numerics;
using Tidemark.Cli.Output;
using Tidemark.Cli.Settings;
using Tidemark.Engine;
using Tidemark.Engine.Auditing;
using Tidemark.Engine.Backup;
using Tidemark.Engine.Machines;

namespace Tidemark.Cli.Commands;

/// <summary>The options of <c>backup</c>, and how they win over the settings file.</summary>
internal static class BackupOptionsOnCommandLine
{
    public static readonly Argument<string[]> Machines = new("MACHINE")
    {
        Description = "Names or UUIDs",
        Arity = ArgumentArity.ZeroOrMore,
    };

    public static readonly Option<bool> All = new("--all") { Description = "Every machine, running or off" };

    public static readonly Option<int> Jobs = new("--jobs")
    {
        Description = "Machines at once",
        DefaultValueFactory = _ => 1,
    };

    public static readonly Option<bool> DryRun = new("--dry-run") { Description = "Show what would be done and why; change nothing" };

    public static readonly Option<bool> Strict = new("--strict")
    {
        Description = "Exit with 3 when something was not protected, or fell back to a full read",
    };

    private static readonly Option<string[]> Disk = new("--disk") { Description = "Only this disk (again for more)" };

    private static readonly Option<string[]> Exclude = new("--exclude") { Description = "Not this disk (again for more)" };

    private static readonly Option<bool> Full = new("--full") { Description = "Read everything, whatever the checkpoints say" };

    private static readonly Option<string?> Quiesce = new("--quiesce")
    {
        Description = "Freeze the guest's file systems: auto, require or off",
    };

    private static readonly Option<string?> Domain = new("--domain")
    {
        Description = "Store in this key domain: only its own keys, and full ones, read it; nothing is shared with others",
    };

    private static readonly Option<string[]> Tag = new("--tag") { Description = "Label of the restore point, KEY=VALUE (again for more)" };

    private static readonly Option<string?> ChunkSize = new("--chunk-size")
    {
        Description = "64K, 128K, 256K (default), 512K, 1M or 4M; a change rewrites the disk once",
    };

    private static readonly Option<bool> CheckAllChunks = new("--check-all-chunks")
    {
        Description = "Decode and compare every compressed chunk before it is stored, not one in sixteen",
    };

    /// <summary>Also of the command that lets go of checkpoints.</summary>
    public static readonly Option<string?> CheckpointDir = new("--checkpoint-dir")
    {
        Description = "Keep the records of checkpoints in this folder too, which hosts may share",
    };

    private static readonly Option<string?> Audit = new("--audit")
    {
        Description = "Of each disk, read so much that is said to be unchanged and compare it: PERCENT% or BYTES, 0 for nothing; "
            + "by default the smaller of 2% and what changed and 256M more",
    };

    public static void AddTo(Command command)
    {
        Quiesce.AcceptOnlyFromAmong("auto", "require", "off");
        command.Arguments.Add(Machines);
        Option[] options =
        [
            All, Disk, Exclude, Full, Quiesce, Tag, Domain, ChunkSize, Audit, CheckAllChunks, CheckpointDir, Jobs,
            GlobalOptions.Limit, DryRun, Strict,
        ];
        foreach (var option in options)
            command.Options.Add(option);
    }

    /// <summary>The shared folder of checkpoint records; null for none.</summary>
    public static string? CheckpointFolder(ParseResult result, SettingsFile settings) =>
        (result.GetValue(CheckpointDir) ?? settings.CheckpointDir) is { Length: > 0 } folder ? Path.GetFullPath(folder) : null;

    /// <summary>What the settings say of a machine, and the command line in their place.</summary>
    /// <exception cref="EngineException">A value makes no sense.</exception>
    public static BackupOptions Read(ParseResult result, MachineSettings settings)
    {
        var said = settings with
        {
            Exclude = result.GetValue(Exclude) is { Length: > 0 } exclude ? [.. exclude] : settings.Exclude,
            Domain = result.GetValue(Domain) ?? settings.Domain,
            Quiesce = result.GetValue(Quiesce) ?? settings.Quiesce,
            ChunkSize = result.GetValue(ChunkSize) ?? settings.ChunkSize,
            Audit = result.GetValue(Audit) ?? settings.Audit,
        };
        return Read(said) with
        {
            Disks = result.GetValue(Disk) ?? [],
            Full = result.GetValue(Full),
            Tags = ReadTags(result.GetValue(Tag), settings.Tags),
            CheckAllChunks = result.GetValue(CheckAllChunks),
        };
    }

    /// <summary>What the settings alone say of a machine.</summary>
    /// <exception cref="EngineException">A value makes no sense.</exception>
    public static BackupOptions Read(MachineSettings settings) => new()
    {
        Exclude = settings.Exclude ?? [],
        Domain = settings.Domain,
        Quiesce = ReadQuiesce(settings.Quiesce),
        Tags = settings.Tags ?? [],
        ChunkLog2 = ReadChunkSize(settings.ChunkSize),
        Audit = ReadAudit(settings.Audit),
        BeforeFreeze = settings.BeforeFreeze ?? [],
        AfterThaw = settings.AfterThaw ?? [],
    };

    private static Quiesce ReadQuiesce(string? text) => text switch
    {
        null or "auto" => Engine.Machines.Quiesce.Auto,
        "require" => Engine.Machines.Quiesce.Require,
        "off" => Engine.Machines.Quiesce.Off,
        _ => throw EngineException.Usage($"Quiesce '{text}' is none of auto, require and off."),
    };

    private static Dictionary<string, string> ReadTags(string[]? given, Dictionary<string, string>? settings)
    {
        var tags = new Dictionary<string, string>(settings ?? [], StringComparer.Ordinal);
        foreach (var text in given ?? [])
        {
            var at = text.IndexOf('=', StringComparison.Ordinal);
            if (at <= 0)
                throw EngineException.Usage($"Tag '{text}' is not of the form KEY=VALUE.");
            tags[text[..at]] = text[(at + 1)..];
        }

        return tags;
    }

    private static AuditBudget ReadAudit(string? text)
    {
        if (text is null)
            return AuditBudget.Default;
        const NumberStyles style = NumberStyles.AllowDecimalPoint;
        if (text.EndsWith('%') && decimal.TryParse(text[..^1], style, CultureInfo.InvariantCulture, out var percent) && percent <= 100)
            return AuditBudget.OfPercent(percent);
        if (Sizes.TryParse(text, out var bytes))
            return AuditBudget.OfBytes(bytes);
        throw EngineException.Usage(
            $"Audit '{text}' is neither a percentage up to 100% nor a size.", "--audit 2%, --audit 10G or --audit 0");
    }

    private static int? ReadChunkSize(string? text)
    {
        if (text is null)
            return null;
        if (Sizes.TryParse(text, out var bytes) && bytes is 1 << 16 or 1 << 17 or 1 << 18 or 1 << 19 or 1 << 20 or 1 << 22)
            return BitOperations.Log2((ulong)bytes);
        throw EngineException.Usage($"Chunk size '{text}' is none of 64K, 128K, 256K, 512K, 1M and 4M.");
    }
}
