// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using System.Globalization;
using Tidemark.Cli.Output;
using Tidemark.Cli.Settings;
using Tidemark.Engine;
using Tidemark.Engine.Checkpoints;
using Tidemark.Engine.Doctor;
using Tidemark.Engine.Doctor.Facts;
using Tidemark.Engine.Machines;
using Tidemark.Engine.Runs;

namespace Tidemark.Cli.Commands;

/// <summary><c>tidemark checkpoint list|export|import|release MACHINE</c>.</summary>
internal static class CheckpointCommand
{
    private static readonly TimeSpan LockPatience = TimeSpan.FromSeconds(5);

    private static readonly Argument<string> Machine = new("MACHINE") { Description = "Name or UUID" };

    private static readonly Argument<string> To = new("FILE")
    {
        Description = "Write to this file; '-' is standard output",
        DefaultValueFactory = _ => "-",
    };

    private static readonly Argument<string> From = new("FILE") { Description = "Read this file; '-' is standard input" };

    private static readonly Option<bool> Topological = new("--topological") { Description = "Parents first, which is the order anyway" };

    private static readonly Option<int?> Limit = new("--limit") { Description = "At most so many" };

    private static readonly Option<string?> After = new("--after") { Description = "Go on behind this checkpoint" };

    private static readonly Option<bool> Compact = new("--compact") { Description = "Without the machine's definition" };

    private static readonly Option<bool> OtherMachine = new("--other-machine")
    {
        Description = "Take records of a machine with another UUID",
    };

    private static readonly Option<bool> OnlyUsable = new("--only-usable")
    {
        Description = "Leave out checkpoints whose bitmaps are missing or inconsistent",
    };

    private static readonly Option<bool> AllRepositories = new("--all-repositories")
    {
        Description = "Let go of the checkpoints of every Tidemark repository",
    };

    public static Command Create()
    {
        var list = new Command("list", "Checkpoints, ours and foreign, parents first") { Machine, Topological, Limit, After };
        list.SetAction(ListAsync);
        var export = new Command("export", "All records of a machine's checkpoints, as one JSON document") { Machine, To, Compact };
        export.SetAction(ExportAsync);
        var import = new Command(
            "import", "Tell the hypervisor of exported checkpoints: all or none") { Machine, From, OtherMachine, OnlyUsable };
        import.SetAction(ImportAsync);
        var release = new Command("release", "Let go of our checkpoints and bitmaps; the next backup reads in full")
        {
            Machine, AllRepositories, BackupOptionsOnCommandLine.CheckpointDir,
        };
        release.SetAction(ReleaseAsync);
        return new Command("checkpoint", "A machine's checkpoints") { list, export, import, release };
    }

    private static async Task<int> ListAsync(ParseResult result, CancellationToken cancellationToken)
    {
        var settings = result.Settings();
        if (result.GetValue(Limit) is < 1)
            throw EngineException.Usage("--limit is a number of at least 1.");
        var part = await PartAsync(result, settings, cancellationToken);
        var facts = await ReadAsync(result, settings, cancellationToken);
        var listing = CheckpointListing.Make(facts, new CheckpointPage(result.GetValue(Limit), result.GetValue(After)), part);
        result.Output().Result(listing, CliJson.Default.CheckpointListing, Table);
        return ExitCode.Done;
    }

    private static async Task<int> ExportAsync(ParseResult result, CancellationToken cancellationToken)
    {
        var facts = await ReadAsync(result, result.Settings(), cancellationToken);
        var document = CheckpointDocument.Of(facts);
        if (!result.GetValue(Compact))
        {
            await using var hypervisor = await result.ConnectHypervisorAsync(result.Settings(), cancellationToken);
            document = document with { Definition = await hypervisor.OpenDefinitionAsync(facts.Machine.Uuid, cancellationToken) };
        }

        var file = result.GetValue(To)!;
        if (file == "-")
        {
            await using var output = Console.OpenStandardOutput();
            await output.WriteAsync(document.ToBytes(), cancellationToken);
            output.WriteByte((byte)'\n');
            return ExitCode.Done;
        }

        await WriteAsync(file, document.ToBytes(), cancellationToken);
        result.Output().Result(
            new CheckpointExportDocument(Path.GetFullPath(file), document.Checkpoints.Count),
            CliJson.Default.CheckpointExportDocument,
            written => $"{written.Checkpoints} checkpoints in '{written.File}'.");
        return ExitCode.Done;
    }

    private static async Task<int> ImportAsync(ParseResult result, CancellationToken cancellationToken)
    {
        var settings = result.Settings();
        var file = result.GetValue(From)!;
        var document = CheckpointDocument.Parse(await ReadFileAsync(file, cancellationToken), file);
        await using var hypervisor = await result.ConnectHypervisorAsync(settings, cancellationToken);
        using var held = await HoldAsync(result, settings, hypervisor, cancellationToken);
        var options = new ImportOptions(result.GetValue(OtherMachine), result.GetValue(OnlyUsable));
        var imported = await CheckpointImport.RunAsync(
            hypervisor, await ReadAsync(result, settings, cancellationToken), document, options, cancellationToken);
        result.Output().Result(imported, CliJson.Default.ImportResult, Describe);
        return ExitCode.Done;
    }

    private static async Task<int> ReleaseAsync(ParseResult result, CancellationToken cancellationToken)
    {
        var settings = result.Settings();
        var part = result.GetValue(AllRepositories) ? null : await PartAsync(result, settings, cancellationToken)
            ?? throw EngineException.Usage("No repository is named.", "--repo URL, or --all-repositories");
        await using var hypervisor = await result.ConnectHypervisorAsync(settings, cancellationToken);
        using var held = await HoldAsync(result, settings, hypervisor, cancellationToken);
        var released = await CheckpointRelease.RunAsync(
            hypervisor, await ReadAsync(result, settings, cancellationToken), part, GlobalOptions.Folders(settings),
            BackupOptionsOnCommandLine.CheckpointFolder(result, settings), UserOutput.Warning, cancellationToken);
        result.Output().Result(released, CliJson.Default.ReleaseResult, Describe);
        return ExitCode.Done;
    }

    // The repository's mark in the names of its checkpoints; null when none is named.
    private static async Task<string?> PartAsync(ParseResult result, SettingsFile settings, CancellationToken cancellationToken)
    {
        if (!result.NamesRepository(settings))
            return null;
        await using var repository = await result.OpenRepositoryAsync(settings, cancellationToken);
        return repository.Part;
    }

    private static async Task<BitmapFacts> ReadAsync(ParseResult result, SettingsFile settings, CancellationToken cancellationToken)
    {
        await using var examiner = await Hypervisors.ExamineAsync(result.ConnectUri(settings), cancellationToken);
        return await examiner.ReadBitmapsAsync(
            (await FindAsync(examiner, result.GetValue(Machine)!, cancellationToken)).Uuid, cancellationToken);
    }

    private static async Task<MachineName> FindAsync(IExaminer examiner, string wanted, CancellationToken cancellationToken)
    {
        var all = await examiner.ListMachinesAsync(cancellationToken);
        return all.FirstOrDefault(machine => machine.Uuid.Equals(wanted, StringComparison.OrdinalIgnoreCase))
            ?? all.FirstOrDefault(machine => machine.Name == wanted)
            ?? throw EngineException.Usage($"The hypervisor knows no machine '{wanted}'.", "tidemark machines");
    }

    private static async Task<MachineLock> HoldAsync(
        ParseResult result, SettingsFile settings, IHypervisor hypervisor, CancellationToken cancellationToken)
    {
        var name = result.GetValue(Machine)!;
        var machine = await hypervisor.FindAsync(name, cancellationToken)
            ?? throw EngineException.Usage($"The hypervisor knows no machine '{name}'.", "tidemark machines");
        return await MachineLock.TryTakeAsync(GlobalOptions.Folders(settings), machine.Uuid, LockPatience, cancellationToken)
            ?? throw EngineException.Busy($"A backup of machine '{machine.Name}' is running on this host.");
    }

    private static async Task<byte[]> ReadFileAsync(string file, CancellationToken cancellationToken)
    {
        try
        {
            await using var stream = file == "-" ? Console.OpenStandardInput() : File.OpenRead(file);
            var content = new MemoryStream();
            var buffer = new byte[64 << 10];
            for (int read; (read = await stream.ReadAsync(buffer, cancellationToken)) > 0;)
            {
                content.Write(buffer, 0, read);
                if (content.Length > CheckpointDocument.LargestFile)
                    throw EngineException.Usage($"'{file}' is larger than {CheckpointDocument.LargestFile} bytes.");
            }

            return content.ToArray();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw EngineException.Usage($"'{file}' cannot be read: {e.Message}");
        }
    }

    // Beside it first: whoever sees the name sees a whole document.
    private static async Task WriteAsync(string file, byte[] content, CancellationToken cancellationToken)
    {
        var beside = $"{file}.{Environment.ProcessId.ToString(CultureInfo.InvariantCulture)}.new";
        try
        {
            await File.WriteAllBytesAsync(beside, content, cancellationToken);
            File.Move(beside, file, overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            File.Delete(beside);
            throw EngineException.Failed($"'{file}' cannot be written: {e.Message}", inner: e);
        }
    }

    private static string Table(CheckpointListing listing)
    {
        if (listing.Checkpoints.Count + listing.WithoutRecord.Count == 0)
            return $"Machine '{listing.Machine}' has no checkpoints.";
        var table = new TextTable("CHECKPOINT", "PARENT", "CREATED", "OF", "DISK", "BITMAP", ">CHANGED");
        foreach (var checkpoint in listing.Checkpoints)
        {
            foreach (var disk in checkpoint.Disks.DefaultIfEmpty(new ListedDisk("-", "", null)))
            {
                table.Add(
                    checkpoint.Name, checkpoint.Parent ?? "-", Sizes.Time(checkpoint.Created), checkpoint.Lineage, disk.Name, disk.Health,
                    disk.ChangedBytes is { } bytes ? Sizes.Bytes(bytes) : "");
            }
        }

        foreach (var bitmap in listing.WithoutRecord)
            table.Add(bitmap.Name, "", "", bitmap.Lineage, string.Join(",", bitmap.Disks), "no record", "");
        var more = listing.Next is { } next ? $"\nMore follow: --after {next}" : "";
        return table + string.Concat(listing.Unseen.Select(sentence => $"\n{sentence}")) + more;
    }

    private static string Describe(ImportResult result)
    {
        var text = $"{result.Added.Count} checkpoints added, {result.Replaced.Count} replaced, {result.Unchanged.Count} were there "
            + "already.";
        return result.LeftOut.Count == 0 ? text : $"{text}\nLeft out, their bitmaps cannot be used: {string.Join(", ", result.LeftOut)}";
    }

    private static string Describe(ReleaseResult result)
    {
        var text = $"Machine '{result.Machine}': {result.Released.Count} checkpoints of ours are gone, {result.Kept.Count} others stay.";
        return result.Released.Count == 0 ? text : $"{text}\nThe next backup reads its disks in full.";
    }
}
