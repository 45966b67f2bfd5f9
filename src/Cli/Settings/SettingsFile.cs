// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine;
using YamlDotNet.Core;
using YamlDotNet.Serialization;
using YamlDotNet.Serialization.NamingConventions;

namespace Tidemark.Cli.Settings;

/// <summary>The settings file, /etc/tidemark/config.yaml unless another is named; a command's own options win over it.</summary>
internal sealed class SettingsFile
{
    private const string DefaultPath = "/etc/tidemark/config.yaml";

    /// <summary>Folder or URL of the repository.</summary>
    public string? Repository { get; set; }

    public string? KeyFile { get; set; }

    public string? PasswordFile { get; set; }

    /// <summary>Hypervisor to connect to.</summary>
    public string? Connect { get; set; }

    /// <summary>Folder for sockets and scratch files.</summary>
    public string? Scratch { get; set; }

    /// <summary>Folder with records of checkpoints that hosts share.</summary>
    public string? CheckpointDir { get; set; }

    /// <summary>What holds for all machines; null is nothing.</summary>
    public MachineSettings? Defaults { get; set; }

    /// <summary>What holds for one machine, by name or UUID; null, also of a machine, is nothing.</summary>
    public Dictionary<string, MachineSettings?>? Machines { get; set; }

    /// <summary>Reads the named file, or the default one if it exists.</summary>
    /// <exception cref="EngineException">The file is missing though named, or is not what it should be.</exception>
    public static SettingsFile Load(string? path)
    {
        var file = path ?? DefaultPath;
        if (!File.Exists(file))
        {
            return path is null
                ? new SettingsFile()
                : throw EngineException.Usage($"Settings file '{path}' does not exist.");
        }

        try
        {
            var reader = new DeserializerBuilder().WithNamingConvention(CamelCaseNamingConvention.Instance).Build();
            return reader.Deserialize<SettingsFile?>(File.ReadAllText(file)) ?? new SettingsFile();
        }
        catch (YamlException e)
        {
            throw EngineException.Usage(
                $"Settings file '{file}' is wrong in line {e.Start.Line}: {e.InnerException?.Message ?? e.Message}");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw EngineException.Failed($"Settings file '{file}' cannot be read: {e.Message}", inner: e);
        }
    }

    /// <summary>The settings of a machine: its own where it has any, the defaults elsewhere.</summary>
    public MachineSettings Of(string name, string uuid)
    {
        var (own, all) = (Under(name, StringComparison.Ordinal) ?? Under(uuid, StringComparison.OrdinalIgnoreCase), Defaults);
        return new MachineSettings
        {
            Exclude = own?.Exclude ?? all?.Exclude,
            Quiesce = own?.Quiesce ?? all?.Quiesce,
            ChunkSize = own?.ChunkSize ?? all?.ChunkSize,
            Audit = own?.Audit ?? all?.Audit,
            BeforeFreeze = own?.BeforeFreeze ?? all?.BeforeFreeze,
            AfterThaw = own?.AfterThaw ?? all?.AfterThaw,
            Tags = own?.Tags ?? all?.Tags,
            Domain = own?.Domain ?? all?.Domain,
        };
    }

    private MachineSettings? Under(string key, StringComparison comparison) =>
        Machines?.FirstOrDefault(machine => machine.Key.Equals(key, comparison)).Value;
}

/// <summary>Choices for one machine; null is not said.</summary>
internal sealed record MachineSettings
{
    /// <summary>Disks left out.</summary>
    public List<string>? Exclude { get; set; }

    public string? Quiesce { get; set; }

    public string? ChunkSize { get; set; }

    /// <summary>Percentage or size, as on the command line.</summary>
    public string? Audit { get; set; }

    /// <summary>Shell commands on this host before the freeze.</summary>
    public List<string>? BeforeFreeze { get; set; }

    /// <summary>Shell commands on this host after the thaw.</summary>
    public List<string>? AfterThaw { get; set; }

    public Dictionary<string, string>? Tags { get; set; }

    /// <summary>The key domain to store in.</summary>
    public string? Domain { get; set; }
}
